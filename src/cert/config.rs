//! What the owner decided about authorities.

use super::stage::Method;

/// As the settings say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The authority's ACME directory; `None`: nobody is asked.
    pub directory: Option<String>,
    /// Another directory at which to rehearse first.
    pub staging: Option<String>,
    /// A mail address the authority may write to.
    pub contact: Option<String>,
    /// `None`: whatever works, in the order of [`Method::ALL`].
    pub method: Option<Method>,
    /// A kind of certificate that the authority offers under this name, as `shortlived`.
    pub profile: Option<String>,
}
