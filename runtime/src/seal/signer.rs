//! The root's key: made once, kept in the root, and used to sign.

use std::io;

use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

use super::key::{PublicKey, hex};
use crate::{
    audit::{Action, Draft, Phase},
    home::Root,
    registry::{Registry, RegistryError},
};

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// None was made yet.
    #[error("sign: there is no key in {0} yet")]
    NoKey(String),
    /// There is one already.
    #[error("make a key: there is one already, {0}")]
    KeyExists(PublicKey),
    /// A key that is there cannot be used, or none can be made.
    #[error("use the key in {path}")]
    Keyring {
        /// Where it is.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It could not be audited.
    #[error("audit a new key")]
    Audit(#[from] RegistryError),
}

/// Signs, as this root. The secret is wiped when it is dropped.
pub struct Signer {
    key: SigningKey,
    public: PublicKey,
}

/// A new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyMade {
    /// Its public half.
    pub public: PublicKey,
    /// The one whose place it took.
    pub replaced: Option<PublicKey>,
}

fn place(root: &Root) -> String {
    root.path().join("keys").display().to_string()
}

fn unusable(root: &Root) -> impl Fn(io::Error) -> SignerError {
    let path = place(root);
    move |source| SignerError::Keyring { path: path.clone(), source }
}

impl Signer {
    fn new(seed: &[u8; 32]) -> io::Result<Self> {
        let key = SigningKey::from_bytes(seed);
        let public = PublicKey::new(key.verifying_key().to_bytes()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Self { key, public })
    }

    /// Returns the signer of a root.
    ///
    /// # Errors
    /// [`SignerError::NoKey`], or it cannot be read.
    pub fn of(root: &Root) -> Result<Self, SignerError> {
        let cannot = unusable(root);
        let seed = root.keyring().and_then(|keyring| keyring.secret()).map_err(&cannot)?;
        let seed = seed.ok_or_else(|| SignerError::NoKey(place(root)))?;
        Self::new(&seed).map_err(&cannot)
    }

    /// Returns the signer of a root; where it has none yet, a key is made, on record as the actor's.
    ///
    /// # Errors
    /// A key that is there cannot be read, or none can be made.
    pub fn ensure(root: &Root, registry: &mut Registry, actor: &str) -> Result<Self, SignerError> {
        match Self::of(root) {
            Err(SignerError::NoKey(_)) => {}
            found => return found,
        }
        match make_key(root, registry, actor, false) {
            // Two who find none at the same time: one of them made it.
            Ok(_) | Err(SignerError::KeyExists(_)) => Self::of(root),
            Err(error) => Err(error),
        }
    }

    /// The public half.
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs bytes; returns the signature as text.
    pub(super) fn sign(&self, bytes: &[u8]) -> String {
        hex(&self.key.sign(bytes).to_bytes())
    }
}

/// Makes the key of a root: the intent, the key, the outcome. With `replace`, also where there is one: its public half stays known.
///
/// # Errors
/// [`SignerError::KeyExists`] (audited); no randomness, no room, or no audit row: then nothing changed.
pub fn make_key(root: &Root, registry: &mut Registry, actor: &str, replace: bool) -> Result<KeyMade, SignerError> {
    let cannot = unusable(root);
    let keyring = root.keyring().map_err(&cannot)?;
    let _lock = keyring.lock().map_err(&cannot)?;
    let mut note = |phase, detail: &str| registry.audit(Draft::new(actor, Action::AuditKeygen, phase, None, detail)).map(drop);
    let replaced = match keyring.secret() {
        Ok(None) => None,
        Ok(Some(seed)) => Some(Signer::new(&seed).map_err(&cannot)?.public()),
        // One that cannot be read is replaced, where that is asked for; its public half is in the list, if it ever was.
        Err(_) if replace => None,
        Err(error) => return Err(cannot(error)),
    };
    if let Some(there) = replaced.filter(|_| !replace) {
        note(Phase::Refused, &format!("there is one already, {}", there.id()))?;
        return Err(SignerError::KeyExists(there));
    }
    let mut seed = Zeroizing::new([0; 32]);
    crate::mail::draw(seed.as_mut_slice()).map_err(&cannot)?;
    let public = Signer::new(&seed).map_err(&cannot)?.public();
    let detail = match replaced {
        Some(old) => format!("public key {public} in place of {old}"),
        None => format!("public key {public}"),
    };
    note(Phase::Intent, &detail)?;
    if let Err(error) = keyring.keep(&seed, &public.to_bytes()) {
        note(Phase::Failed, &error.to_string())?;
        return Err(cannot(error));
    }
    // A lost outcome undoes nothing: the key is there.
    let _ = note(Phase::Done, &detail);
    Ok(KeyMade { public, replaced })
}

/// The public keys of a root, the oldest first: those that were replaced, and the one in use.
///
/// # Errors
/// They cannot be read.
pub fn known_keys(root: &Root) -> Result<Vec<PublicKey>, SignerError> {
    let cannot = unusable(root);
    let known = root.keyring().and_then(|keyring| keyring.public()).map_err(&cannot)?;
    // What is no key vouches for nothing.
    Ok(known.into_iter().filter_map(|bytes| PublicKey::new(bytes).ok()).collect())
}
