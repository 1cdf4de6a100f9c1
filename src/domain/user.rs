//! Who may do what: six roles, and one table of rights.

use super::ids::Username;

/// Under this name the books themselves act.
pub const BY_THE_BOOKS: &str = "shouyin";
/// Under this name commands at the machine act.
pub const BY_COMMAND: &str = "cli";

/// Names that mean nobody in particular: no account has them.
pub fn is_reserved(name: &Username) -> bool {
    [BY_THE_BOOKS, BY_COMMAND].contains(&name.as_str())
}

/// What an account is. Giving a role is a person's act; no form of a payer's sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Tops up and reads their own records.
    User,
    /// Everything, and alone decides who the other administrators are.
    Owner,
    /// Moves money back and hands out the lists.
    Finance,
    /// Answers people: explains a payment, asks the gateway again, closes matters. Moves no money.
    Support,
    /// Reads everything, also who did what. Changes nothing.
    Auditor,
    /// Keeps keys and connections in order. Moves no money.
    Developer,
}

/// What may be done on the administrator's pages, besides looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Read orders, refunds, messages and matters.
    See,
    /// Ask the gateway about an order again, and read a kept message again.
    Ask,
    /// Refund, decide about refunds, credit by hand, adjust a balance.
    Money,
    /// Note and close what waits for a person.
    Work,
    /// Take lists out of the house.
    Export,
    /// Read who did what.
    AuditLog,
    /// Look at keys, certificates and the state of the machine.
    Diagnostics,
    /// Decide who the administrators are.
    Accounts,
}

impl Role {
    pub const ALL: [Role; 6] =
        [Role::User, Role::Owner, Role::Finance, Role::Support, Role::Auditor, Role::Developer];

    pub const fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Owner => "owner",
            Role::Finance => "finance",
            Role::Support => "support",
            Role::Auditor => "auditor",
            Role::Developer => "developer",
        }
    }

    pub fn parse(text: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// A role of administrators.
    pub fn parse_admin(text: &str) -> Option<Role> {
        Role::parse(text).filter(|role| role.is_admin())
    }

    pub fn admins() -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(|role| role.is_admin())
    }

    pub const fn is_admin(self) -> bool {
        self.may(Right::See)
    }

    /// The table of rights: the only one.
    pub const fn may(self, right: Right) -> bool {
        use Role::{Auditor, Developer, Finance, Owner, Support, User};
        match right {
            Right::See => !matches!(self, User),
            Right::Ask => matches!(self, Owner | Support | Developer),
            Right::Money => matches!(self, Owner | Finance),
            Right::Work => matches!(self, Owner | Finance | Support),
            Right::Export => matches!(self, Owner | Finance | Auditor),
            Right::AuditLog => matches!(self, Owner | Auditor),
            Right::Diagnostics => matches!(self, Owner | Developer),
            Right::Accounts => matches!(self, Owner),
        }
    }
}

impl Right {
    pub const ALL: [Right; 8] = [
        Right::See,
        Right::Ask,
        Right::Money,
        Right::Work,
        Right::Export,
        Right::AuditLog,
        Right::Diagnostics,
        Right::Accounts,
    ];

    /// Who has it.
    pub fn holders(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| role.may(self))
    }
}

/// An account as the rest of the program sees it; the password hash stays in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: i64,
    pub username: String,
    pub role: Role,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_who_may_not_look_may_do_anything_and_the_owner_may_everything() {
        for right in Right::ALL {
            assert!(!Role::User.may(right), "{right:?}");
            assert!(Role::Owner.may(right), "{right:?}");
            assert!(right.holders().all(Role::is_admin), "{right:?}");
        }
        assert_eq!(Right::Accounts.holders().collect::<Vec<_>>(), [Role::Owner]);
    }

    #[test]
    fn money_moves_by_finance_and_owner_alone_and_an_auditor_only_reads() {
        assert_eq!(Right::Money.holders().collect::<Vec<_>>(), [Role::Owner, Role::Finance]);
        let of_auditor: Vec<_> = Right::ALL.into_iter().filter(|right| Role::Auditor.may(*right)).collect();
        assert_eq!(of_auditor, [Right::See, Right::Export, Right::AuditLog]);
        let of_developer: Vec<_> =
            Right::ALL.into_iter().filter(|right| Role::Developer.may(*right)).collect();
        assert_eq!(of_developer, [Right::See, Right::Ask, Right::Diagnostics]);
    }

    #[test]
    fn every_role_is_read_as_it_is_written() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("root"), None);
        assert_eq!(Role::parse_admin("user"), None);
        assert_eq!(Role::admins().count(), 5);
    }
}
