//! What is served on 443, put together.

use std::sync::Arc;

use crate::net::Site;
use crate::web::clients;
use crate::web::home::{self, Household};

use super::house::House;

pub(super) fn site(house: &House) -> Site {
    let household = Arc::new(Household { data: house.data.clone(), settings: house.settings.clone() });
    // What is the house's own, such as the administration, is one more part.
    let own = Vec::new();
    home::site(household.clone(), clients::part(household), own)
}
