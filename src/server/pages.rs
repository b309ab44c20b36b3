//! What is served on 443, put together.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::net::Site;
use crate::web::admin;
use crate::web::clients;
use crate::web::home::{self, Household};

use super::house::House;
use super::serve::Told;
use super::steward::Steward;

pub(super) fn site(house: &Arc<House>, tell: &mpsc::UnboundedSender<Told>) -> Site {
    let household = Arc::new(Household { data: house.data.clone(), settings: house.settings.clone() });
    let steward = Arc::new(Steward::new(house.clone(), tell.clone()));
    let own = vec![admin::part(steward, house.clock.clone(), house.random.clone())];
    home::site(household.clone(), clients::part(household), own)
}
