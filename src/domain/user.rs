//! Who may do what.

use super::ids::Username;

/// Under this name the books themselves act.
pub const BY_THE_BOOKS: &str = "shouyin";
/// Under this name commands at the machine act.
pub const BY_COMMAND: &str = "cli";

/// Names that mean nobody in particular: no account has them.
pub fn is_reserved(name: &Username) -> bool {
    [BY_THE_BOOKS, BY_COMMAND].contains(&name.as_str())
}

/// Rights of an account. Issue of rights is a person's act; no form field sets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Tops up and reads their own records.
    User,
    /// Works the recharge records.
    Owner,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Owner => "owner",
        }
    }

    pub fn parse(text: &str) -> Option<Role> {
        [Role::User, Role::Owner].into_iter().find(|role| role.as_str() == text)
    }

    pub const fn is_admin(self) -> bool {
        matches!(self, Role::Owner)
    }
}

/// An account as the rest of the program sees it; the password hash stays in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: i64,
    pub username: String,
    pub role: Role,
}
