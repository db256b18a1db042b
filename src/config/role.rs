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

/// `ROLE:USER` or `ROLE:@GROUP`.
#[must_use]
pub fn parse(text: &str) -> Option<(Role, Holder)> {
    let (role, who) = text.split_once(':')?;
    let holder = match who.strip_prefix('@') {
        Some(group) => Holder::Group(group.to_owned()),
        None => Holder::User(who.to_owned()),
    };
    let named = !who.trim_start_matches('@').is_empty();
    named.then_some((Role::named(role)?, holder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_for_a_user_or_a_group() {
        assert_eq!(parse("operate:deploy"), Some((Role::Operate, Holder::User("deploy".into()))));
        assert_eq!(parse("read:@adm"), Some((Role::Read, Holder::Group("adm".into()))));
        for wrong in ["", "operate", "operate:", "read:@", "root:x", ":x"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert!(Role::Read < Role::Operate && Role::Operate < Role::Admin);
    }
}
