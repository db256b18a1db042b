//! Material that can be used and that cannot, and the names of clients.

use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;

fn of(name: &str) -> Material {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    Material {
        certificate: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
        ciphers: None,
        client_ca: None,
    }
}

#[test]
fn what_cannot_be_used_is_told_without_its_content() {
    let (good, other) = (of("a.example"), of("b.example"));
    let authorities =
        |certificates: &str| Some(Authorities { certificates: certificates.to_owned(), is_mandatory: true });
    let with = |change: &dyn Fn(&mut Material)| {
        let mut material = good.clone();
        change(&mut material);
        material
    };
    assert!(good.server_config().is_ok());
    let chain = with(&|material| material.certificate += &other.certificate);
    assert!(chain.server_config().is_ok());
    let together = with(&|material| material.certificate += &good.key);
    assert!(Material { key: together.certificate.clone(), ..together }.server_config().is_ok());
    assert!(with(&|material| material.client_ca = authorities(&other.certificate)).server_config().is_ok());
    let garbage = "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n";
    let torn = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (change, expected) in [
        (with(&|m| m.certificate = "secret".into()), "no certificate is in it"),
        (with(&|m| m.certificate = garbage.into()), "invalid peer certificate: BadEncoding"),
        (with(&|m| m.key = "secret".into()), "no private key is in it"),
        (with(&|m| m.key = good.certificate.clone()), "no private key is in it"),
        (with(&|m| m.key = torn.into()), "it is not in PEM"),
        (with(&|m| m.key = encrypted.into()), "the key is encrypted"),
        (with(&|m| m.key = other.key.clone()), "it is not the key of the certificate"),
        (with(&|m| m.ciphers = Some("RC4-SHA".into())), "none of these ciphers is spoken here"),
        (with(&|m| m.client_ca = authorities("secret")), "no certificate is in it"),
        (with(&|m| m.client_ca = authorities(garbage)), "BadEncoding"),
    ] {
        let told = change.server_config().unwrap_err().to_string();
        assert!(told.contains(expected), "{expected}: {told}");
        assert!(!told.contains("secret") && !told.contains("c2VjcmV0"), "{told}");
        assert_eq!(format!("{change:?}"), "Material");
    }
}

#[test]
fn names_are_written_as_openssl_does() {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "IT");
    params.distinguished_name.push(DnType::OrganizationName, "A+B / \u{e9}\n");
    params.distinguished_name.push(DnType::CustomDnType(vec![1, 2, 3]), "x");
    params.distinguished_name.push(DnType::CommonName, "roberto");
    let certificate = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let expected = "/C=IT/O=A\\+B \\/ \\xC3\\xA9\\x0A/1.2.3=x/CN=roberto";
    assert_eq!(subject(certificate.der()).as_deref(), Some(expected));
    assert_eq!(subject(b"no certificate"), None);
    let mut long = CertificateParams::new(vec![]).unwrap();
    long.distinguished_name.push(DnType::CommonName, "x".repeat(5000));
    let certificate = CertifiedIssuer::self_signed(long, KeyPair::generate().unwrap()).unwrap();
    assert_eq!(subject(certificate.der()), None);
}
