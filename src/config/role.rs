//! Who may do what with an emperor.

use serde::{Deserialize, Serialize};

/// What somebody may do, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See counters and states.
    Read,
    /// See everything, and act on vassals.
    Operate,
    /// Act on the emperor itself, and write configurations.
    Admin,
}

/// Who has a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    /// A user, by name or number.
    User(String),
    /// Every member of a group, by name or number.
    Group(String),
    /// A client whose certificate has this common name.
    Certificate(String),
}

impl Role {
    /// The role of this name.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "read" => Some(Self::Read),
            "operate" => Some(Self::Operate),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// `ROLE:USER`, `ROLE:@GROUP` or `ROLE:cert:NAME`.
#[must_use]
pub fn parse(text: &str) -> Option<(Role, Holder)> {
    let (role, who) = text.split_once(':')?;
    let (holder, name): (fn(String) -> Holder, &str) =
        match (who.strip_prefix('@'), who.strip_prefix("cert:")) {
            (Some(group), _) => (Holder::Group, group),
            (_, Some(name)) => (Holder::Certificate, name),
            _ => (Holder::User, who),
        };
    (!name.is_empty()).then_some((Role::named(role)?, holder(name.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_for_a_user_or_a_group() {
        assert_eq!(parse("operate:deploy"), Some((Role::Operate, Holder::User("deploy".into()))));
        assert_eq!(parse("read:@adm"), Some((Role::Read, Holder::Group("adm".into()))));
        assert_eq!(
            parse("admin:cert:ci.example"),
            Some((Role::Admin, Holder::Certificate("ci.example".into())))
        );
        for wrong in ["", "operate", "operate:", "read:@", "read:cert:", "root:x", ":x"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert!(Role::Read < Role::Operate && Role::Operate < Role::Admin);
    }
}
