//! When a rule applies.

use serde::{Deserialize, Serialize};

use super::pattern::Pattern;
use super::template::Template;

/// When a rule applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// Always.
    Always,
    /// When the answer has this status.
    Status(u16),
    /// When a text matches a regular expression.
    Matches {
        /// The text.
        of: Template,
        /// The regular expression.
        pattern: String,
        /// When it does not.
        negate: bool,
    },
    /// When a test succeeds.
    Test {
        /// The test.
        test: Test,
        /// When it fails.
        negate: bool,
    },
}

/// A test of `route-if`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test {
    /// Of a file.
    File(FileTest, Template),
    /// The text is empty.
    Empty(Template),
    /// Of two texts.
    Pair(PairTest, Template, Template),
}

/// A test of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileTest {
    /// There is something.
    Exists,
    /// A regular file.
    IsFile,
    /// A directory.
    IsDirectory,
    /// A symbolic link.
    IsLink,
    /// The worker may execute it.
    IsExecutable,
}

/// A test of two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PairTest {
    /// The same.
    Equal,
    /// The first begins with the second.
    StartsWith,
    /// It ends with it.
    EndsWith,
    /// It is in it.
    Contains,
    /// Both are numbers: the first is higher.
    Higher,
    /// Higher, or the same.
    HigherEqual,
    /// Lower.
    Lower,
    /// Lower, or the same.
    LowerEqual,
    /// The first is an IPv4 address in the network that is the second.
    Ipv4In,
    /// An IPv6 address.
    Ipv6In,
}

impl When {
    /// What `route-if` or `route-if-not` says before the action: `test:arguments`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, negate: bool) -> Result<Self, String> {
        let (name, arguments) =
            text.split_once(':').ok_or_else(|| "invalid route condition syntax".to_owned())?;
        if let Some(test) = file_test(name) {
            return Ok(Self::Test { test: Test::File(test, Template::parse(arguments)?), negate });
        }
        if name == "empty" {
            return Ok(Self::Test { test: Test::Empty(Template::parse(arguments)?), negate });
        }
        let is_pattern = matches!(name, "regexp" | "re");
        let test = pair_test(name);
        if !is_pattern && test.is_none() {
            return Err(format!("unable to find \"{name}\" route condition"));
        }
        let (first, second) = arguments
            .split_once(';')
            .ok_or_else(|| format!("`{name}` compares two texts: a `;` between them is missing"))?;
        let first = Template::parse(first)?;
        Ok(match test {
            Some(test) => Self::Test { test: Test::Pair(test, first, Template::parse(second)?), negate },
            None => Self::Matches { of: first, pattern: second.to_owned(), negate },
        })
    }

    /// How many groups its pattern has that an action can name; `None`: it has no pattern that then matched.
    ///
    /// # Errors
    /// What is wrong with the pattern, or with what it names.
    pub fn groups(&self) -> Result<Option<usize>, String> {
        match self {
            Self::Matches { pattern, negate, .. } => {
                let compiled = Pattern::new(pattern).map_err(|error| {
                    format!("`{pattern}` is no regular expression that is understood: {error}")
                })?;
                Ok(Some(compiled.groups()).filter(|_| !negate))
            }
            _ => Ok(None),
        }
    }

    /// The texts it compares.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let (first, second) = match self {
            Self::Always | Self::Status(_) => (None, None),
            Self::Matches { of, .. } => (Some(of), None),
            Self::Test { test, .. } => match test {
                Test::File(_, text) | Test::Empty(text) => (Some(text), None),
                Test::Pair(_, first, second) => (Some(first), Some(second)),
            },
        };
        first.into_iter().chain(second)
    }
}

fn file_test(name: &str) -> Option<FileTest> {
    Some(match name {
        "exists" => FileTest::Exists,
        "isfile" => FileTest::IsFile,
        "isdir" => FileTest::IsDirectory,
        "islink" => FileTest::IsLink,
        "isexec" => FileTest::IsExecutable,
        _ => return None,
    })
}

fn pair_test(name: &str) -> Option<PairTest> {
    Some(match name {
        "equal" | "isequal" | "eq" | "==" => PairTest::Equal,
        "startswith" => PairTest::StartsWith,
        "endswith" => PairTest::EndsWith,
        "contains" | "contain" => PairTest::Contains,
        "ishigher" | ">" => PairTest::Higher,
        "ishigherequal" | ">=" => PairTest::HigherEqual,
        "islower" | "<" => PairTest::Lower,
        "islowerequal" | "<=" => PairTest::LowerEqual,
        "ipv4in" => PairTest::Ipv4In,
        "ipv6in" => PairTest::Ipv6In,
        _ => return None,
    })
}
