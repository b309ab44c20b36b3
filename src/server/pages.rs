//! What is served on 443, put together.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::appliance::machine::Client;
use crate::cert::cms;
use crate::net::Site;
use crate::web::admin;
use crate::web::clients;
use crate::web::devices::{self, Desk};
use crate::web::home::{self, Household};

use super::house::House;
use super::languages;
use super::serve::Told;
use super::steward::Steward;

pub(super) fn site(house: &Arc<House>, tell: &mpsc::UnboundedSender<Told>) -> Site {
    let household = Arc::new(Household { data: house.data.clone(), settings: house.settings.clone() });
    let steward = Arc::new(Steward::new(house.clone(), Arc::new(Client::new()), tell.clone()));
    let signing = house.clone();
    let desk = Desk {
        household: household.clone(),
        clock: house.clock.clone(),
        random: house.random.clone(),
        sign: Arc::new(move |content| cms::signed(content, &signing.certificates.of_host(&signing)?)),
    };
    let languages = languages::load(&house.folder);
    let own = vec![admin::part(steward, house.clock.clone(), house.random.clone(), languages), devices::part(desk)];
    home::site(household.clone(), clients::part(household), own)
}
