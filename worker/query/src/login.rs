//! Who may connect: the users of a folder, a file each whose content is the password. It is read at each login, so
//! a Secret that changes needs no restart.
//!
//! Passwords are proved by SCRAM-SHA-256; they do not travel. Who asks for a user that is not there gets as far as
//! who has a wrong password, so names cannot be tried out.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::{PgCatalogContextProvider, Role};
use datafusion_postgres::pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, gen_salted_password};
use datafusion_postgres::pgwire::api::auth::{AuthSource, LoginInfo, Password};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use rand::RngExt;

/// The users of a folder.
#[derive(Clone)]
pub struct Users(Arc<Path>);

impl Users {
    /// The users of `folder`.
    ///
    /// # Errors
    /// Where the folder cannot be read or has no user.
    pub fn open(folder: PathBuf) -> std::io::Result<Self> {
        let users = Users(folder.into());
        if users.names()?.is_empty() {
            let message = "it has no user: write a file with the user's name and the password in it";
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, message));
        }
        Ok(users)
    }

    fn names(&self) -> std::io::Result<Vec<String>> {
        let names =
            std::fs::read_dir(&self.0)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| is_user(name)).collect())
    }

    /// The password of a user, without the line's end that editors put there; `None` where there is no such user.
    async fn password(&self, user: &str) -> Option<String> {
        if !is_user(user) {
            return None;
        }
        let text = tokio::fs::read_to_string(self.0.join(user)).await.ok()?;
        let password = text.trim_end_matches(['\r', '\n']);
        (!password.is_empty()).then(|| password.to_owned())
    }
}

/// A Secret's folder has entries of its own that begin with dots.
fn is_user(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

#[async_trait]
impl AuthSource for Users {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        let user = login.user().ok_or(PgWireError::UserNameRequired)?;
        let (salt, nobody): ([u8; 16], [u8; 32]) = (rand::rng().random(), rand::rng().random());
        let password = self.password(user).await;
        // For nobody too: an answer that came sooner would tell that there is no such user.
        let salted = gen_salted_password(password.as_deref().unwrap_or_default(), &salt, SCRAM_ITERATIONS);
        let salted = if password.is_some() { salted } else { nobody.to_vec() };
        Ok(Password::new(Some(salt.to_vec()), salted))
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Users")
    }
}

/// The users as the catalog shows them: they may read.
#[derive(Clone, Debug)]
pub struct Roles(pub Option<Users>);

#[async_trait]
impl PgCatalogContextProvider for Roles {
    async fn roles(&self) -> Vec<String> {
        let names = self.0.as_ref().and_then(|users| users.names().ok());
        names.unwrap_or_else(|| vec!["tipstream".to_owned()])
    }

    async fn role(&self, name: &str) -> Option<Role> {
        self.roles().await.iter().any(|role| role == name).then(|| Role {
            name: name.to_owned(),
            is_superuser: false,
            can_login: true,
            can_create_db: false,
            can_create_role: false,
            can_create_user: false,
            can_replication: false,
            grants: Vec::new(),
            inherited_roles: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        folder
    }

    #[tokio::test]
    async fn a_password_is_the_file_s_content_and_changes_with_it() {
        let folder = folder(&[("ana", "s3cret\n"), ("..data", "x"), ("empty", "\n")]);
        let users = Users::open(folder.path().to_owned()).expect("users");
        assert_eq!(users.password("ana").await.as_deref(), Some("s3cret"));
        std::fs::write(folder.path().join("ana"), "other").expect("a file");
        assert_eq!(users.password("ana").await.as_deref(), Some("other"));
        for nobody in ["..data", "../ana", "bob", "", "empty"] {
            assert_eq!(users.password(nobody).await, None, "{nobody}");
        }
    }

    #[test]
    fn a_folder_without_a_user_is_refused() {
        let folder = folder(&[(".hidden", "x")]);
        let error = Users::open(folder.path().to_owned()).expect_err("nobody").to_string();
        assert!(error.contains("a file with the user's name"), "{error}");
    }
}
