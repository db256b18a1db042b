//! What users of the unix socket may do, and clients with a certificate.

use std::io;

use super::guard::Grant;
use crate::config::role::{Holder, Role};
use crate::sys::user;

/// Users and groups with their roles, looked up once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Root and the emperor's own user, who may do everything in any case.
    own: Vec<u32>,
    users: Vec<(u32, Role)>,
    groups: Vec<(u32, Role)>,
    certificates: Vec<(String, Role)>,
}

impl Roles {
    /// Looks the names up.
    ///
    /// # Errors
    /// There is no such user or group.
    pub fn look_up(said: &[(Role, Holder)]) -> io::Result<Self> {
        let mut roles = Self { own: vec![0, user::current_uid()], ..Self::default() };
        for (role, holder) in said {
            match holder {
                Holder::User(name) => roles.users.push((user::uid_of(name)?, *role)),
                Holder::Certificate(name) => roles.certificates.push((name.clone(), *role)),
                Holder::Group(name) => roles.groups.push((user::gid_of(name)?, *role)),
            }
        }
        Ok(roles)
    }

    /// What a client whose certificate has this name may do: what is given to that name, and reading in any case.
    #[must_use]
    pub fn of_certificate(&self, name: &str) -> Grant {
        let of_name = self.certificates.iter().filter(|(known, _)| known == name);
        of_name.map(|(_, role)| *role).max().unwrap_or(Grant::Read)
    }

    /// What somebody whom the socket's permissions let in may do: everything where no role is given to anybody,
    /// else the most that is given to the user or one of the groups, and reading in any case.
    #[must_use]
    pub fn of(&self, uid: u32, groups: &[u32]) -> Grant {
        if self.own.contains(&uid) || (self.users.is_empty() && self.groups.is_empty()) {
            return Grant::Admin;
        }
        let of_user = self.users.iter().filter(|(user, _)| *user == uid);
        let of_groups = self.groups.iter().filter(|(group, _)| groups.contains(group));
        of_user.chain(of_groups).map(|(_, role)| *role).max().unwrap_or(Grant::Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_role_counts() {
        let user = |uid: u32, role| (role, Holder::User(uid.to_string()));
        let group = |gid: u32, role| (role, Holder::Group(gid.to_string()));
        let said = [user(54_321, Role::Operate), group(500, Role::Read), group(600, Role::Admin)];
        let roles = Roles::look_up(&said[1..]).unwrap();
        for (uid, groups, expected) in [
            (0, &[][..], Role::Admin),
            (user::current_uid(), &[], Role::Admin),
            (7_000_001, &[1][..], Role::Read),
            (7_000_001, &[1, 500][..], Role::Read),
            (7_000_001, &[500, 600][..], Role::Admin),
        ] {
            assert_eq!(roles.of(uid, groups), expected, "{uid} {groups:?}");
        }
        assert_eq!(
            Roles::default().of(7_000_001, &[]),
            Role::Admin,
            "no roles: who gets in may do everything"
        );
        assert!(Roles::look_up(&[(Role::Read, Holder::User("no such user".into()))]).is_err());
        let roles = Roles { users: vec![(54_321, Role::Operate)], ..roles };
        assert_eq!(roles.of(54_321, &[500]), Role::Operate);
    }
}
