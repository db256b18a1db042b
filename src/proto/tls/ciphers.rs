//! Lists of ciphers in the words of OpenSSL, as far as there is something to choose: among the suites of TLS 1.2. Those
//! of TLS 1.3 are always there, as in OpenSSL.

use tokio_rustls::rustls::{CipherSuite, SupportedCipherSuite};

/// Words that all suites answer to.
const ALL: &[&str] = &["ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "TLSv1.2"];

/// Leaves the suites that the list names. What it names besides is not spoken here.
pub(super) fn choose(list: &str, suites: &mut Vec<SupportedCipherSuite>) {
    let mut chosen: Vec<CipherSuite> = Vec::new();
    let mut barred: Vec<CipherSuite> = Vec::new();
    let all: Vec<CipherSuite> = suites.iter().map(SupportedCipherSuite::suite).collect();
    for element in list.split([':', ' ', ';']).filter(|element| !element.is_empty()) {
        let (sign, words) = match element.chars().next() {
            Some(sign @ ('!' | '-' | '+' | '@')) => (sign, element.get(1..).unwrap_or_default()),
            _ => (' ', element),
        };
        let named = all.iter().filter(|suite| words.split('+').all(|word| answers(**suite, word)));
        match sign {
            '!' => barred.extend(named),
            '-' => chosen.retain(|suite| !words.split('+').all(|word| answers(*suite, word))),
            // The order is the client's; a level of security is what there is.
            '+' | '@' => {}
            _ => chosen.extend(named),
        }
    }
    suites.retain(|suite| {
        let id = suite.suite();
        suite.tls13().is_some() || (chosen.contains(&id) && !barred.contains(&id))
    });
}

/// Whether a suite is meant by a word.
fn answers(suite: CipherSuite, word: &str) -> bool {
    use CipherSuite as Suite;
    let (name, words): (&str, &[&str]) = match suite {
        Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => {
            ("ECDHE-ECDSA-AES128-GCM-SHA256", &["aECDSA", "ECDSA", "AES", "AES128", "AESGCM"])
        }
        Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => {
            ("ECDHE-ECDSA-AES256-GCM-SHA384", &["aECDSA", "ECDSA", "AES", "AES256", "AESGCM"])
        }
        Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            ("ECDHE-ECDSA-CHACHA20-POLY1305", &["aECDSA", "ECDSA", "CHACHA20"])
        }
        Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => {
            ("ECDHE-RSA-AES128-GCM-SHA256", &["aRSA", "AES", "AES128", "AESGCM"])
        }
        Suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => {
            ("ECDHE-RSA-AES256-GCM-SHA384", &["aRSA", "AES", "AES256", "AESGCM"])
        }
        Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
            ("ECDHE-RSA-CHACHA20-POLY1305", &["aRSA", "CHACHA20"])
        }
        _ => return false,
    };
    word == name || words.contains(&word) || ALL.contains(&word)
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::crypto::ring;

    use super::*;

    #[test]
    fn lists_choose_among_what_is_spoken() {
        let strong = "ECDHE-RSA-AES256-GCM-SHA384";
        for (list, count) in [
            ("HIGH", 6),
            ("DEFAULT:!aNULL:!MD5:@STRENGTH", 6),
            ("HIGH:!aNULL:!AES128", 4),
            ("EECDH+AESGCM:EDH+AESGCM:AES256+EECDH", 4),
            ("EECDH+CHACHA20", 2),
            (strong, 1),
            ("ALL:!ECDSA:-CHACHA20", 2),
            ("-AES:ALL", 6),
            ("RC4-SHA:ECDHE-RSA-AES128-GCM-SHA256 AES256-SHA", 1),
            ("RC4-SHA:AES256-SHA", 0),
            ("!HIGH:ALL", 0),
            ("", 0),
            (":!:+:@:-", 0),
        ] {
            let mut suites = ring::default_provider().cipher_suites;
            choose(list, &mut suites);
            let new = suites.iter().filter(|suite| suite.tls13().is_some()).count();
            assert_eq!((new, suites.len() - new), (3, count), "{list}");
        }
    }
}
