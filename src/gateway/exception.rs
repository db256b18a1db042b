//! The page of `catch-exceptions`: an exception as its client is told, in uWSGI's form.

use super::shown::shown;

/// An exception of the application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exception {
    /// Its class, with its module.
    pub class: String,
    /// Its text.
    pub text: String,
    /// Where it was raised, the innermost place last.
    pub frames: Vec<Frame>,
}

/// A place in the code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The function.
    pub function: String,
    /// The line's text, where the file could be read.
    pub code: String,
}

/// The page about an exception in a request with these variables, as bytes of the request and text of the exception;
/// credentials among the variables are hidden.
#[must_use]
pub fn page(exception: &Exception, variables: &[(String, Vec<u8>)]) -> Vec<u8> {
    let Exception { class, text, frames } = exception;
    let variable = |wanted: &str| {
        let found = variables.iter().find(|(name, _)| name == wanted);
        found.map_or(&b""[..], |(_, value)| value)
    };
    let mut page = b"uWSGI exceptions catcher for \"".to_vec();
    page.extend([variable("REQUEST_METHOD"), b" ", variable("REQUEST_URI")].concat());
    page.extend(b"\" (request plugin: \"python\", modifier1: 0)\n\n");
    page.extend(format!("Exception: {class}: {text}\n\n").into_bytes());
    page.extend(
        format!("Exception class: {class}\n\nException message: {text}\n\nBacktrace:\n").into_bytes(),
    );
    for Frame { file, line, function, code } in frames {
        page.extend(format!("filename: \"{file}\" line: {line} function: \"{function}\" ").into_bytes());
        if !code.is_empty() {
            page.extend(format!("text/code: \"{code}\" ").into_bytes());
        }
        page.push(b'\n');
    }
    page.extend(b"\n\n");
    for (name, value) in variables {
        page.extend([name.as_bytes(), b" = ", &shown(name, value, true), b"\n"].concat());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_uwsgi_writes_it_without_credentials() {
        let frame = |line, function: &str, code: &str| Frame {
            file: "app.py".to_owned(),
            line,
            function: function.to_owned(),
            code: code.to_owned(),
        };
        let exception = Exception {
            class: "builtins.KeyError".to_owned(),
            text: "'a'".to_owned(),
            frames: vec![frame(6, "application", "inner(1)"), frame(3, "inner", "")],
        };
        let variables = [
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", "/key?a=b"),
            ("HTTP_COOKIE", "session=1"),
            ("SCRIPT_NAME", ""),
        ]
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        let expected = "uWSGI exceptions catcher for \"GET /key?a=b\" (request plugin: \"python\", modifier1: 0)\n\n\
            Exception: builtins.KeyError: 'a'\n\nException class: builtins.KeyError\n\nException message: 'a'\n\n\
            Backtrace:\nfilename: \"app.py\" line: 6 function: \"application\" text/code: \"inner(1)\" \n\
            filename: \"app.py\" line: 3 function: \"inner\" \n\n\n\
            REQUEST_METHOD = GET\nREQUEST_URI = /key?a=b\nHTTP_COOKIE = ***\nSCRIPT_NAME = \n";
        assert_eq!(String::from_utf8(page(&exception, &variables)).unwrap(), expected);
    }
}
