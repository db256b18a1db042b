//! The name in a certificate, in one line as OpenSSL writes it: `/C=IT/O=unbit/CN=roberto`.

use std::fmt::Write as _;

use x509_cert::Certificate;
use x509_cert::der::Decode;

const COMMON_NAME: &str = "2.5.4.3";

/// What OpenSSL calls the parts of names; others are written as numbers.
const PARTS: &[(&str, &str)] = &[
    (COMMON_NAME, "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// The longest line: who signs certificates is trusted, what they write has an end all the same.
const LIMIT_BYTES: usize = 4096;

/// The last common name of a certificate's subject; `None` where it has none, or one that is not printable ASCII.
#[must_use]
pub fn common_name(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let names = certificate.tbs_certificate().subject().iter();
    let name = names.filter(|part| part.oid.to_string() == COMMON_NAME).last()?;
    let bytes = name.value.value();
    let is_plain =
        !bytes.is_empty() && bytes.len() <= 64 && bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    is_plain.then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// The subject of a certificate in DER; `None` for what is none. Printable ASCII only, whatever the certificate says.
#[must_use]
pub fn subject(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let mut line = String::new();
    for part in certificate.tbs_certificate().subject().iter() {
        let oid = part.oid.to_string();
        let name = PARTS.iter().find(|(number, _)| *number == oid).map_or(oid.as_str(), |(_, name)| name);
        let _ = write!(line, "/{name}=");
        for &byte in part.value.value() {
            match byte {
                b'/' | b'+' => line.extend(['\\', char::from(byte)]),
                b' '..=b'~' => line.push(char::from(byte)),
                _ => {
                    let _ = write!(line, "\\x{byte:02X}");
                }
            }
        }
        if line.len() > LIMIT_BYTES {
            return None;
        }
    }
    Some(line)
}
