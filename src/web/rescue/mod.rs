//! The rescue page on 8080: draws what `appliance/rescue` offers, and hands it what its owner chooses.
//!
//! It stands behind the same server as the set-up, and keeps its rules (G1 to G4 there): only the box's own names, forms with a
//! token, limits, nothing from elsewhere. It needs no JavaScript and has none.
//!
//! Does not know: what an act does.

mod site;

pub use site::Site;
