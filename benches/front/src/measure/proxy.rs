//! Requests for the app, through Tidewait and through nginx.

use super::{Extent, micros_each};
use crate::candidates::hyper::{PAGES, page};
use crate::candidates::{Place, Proxy};
use crate::clients::{Again, Clients as _, Expected, Request};
use crate::crowd::Crowd;
use crate::figures::{Figures, What};
use crate::outcome::Outcome;

/// Clients, of which each sends its next request when it was answered.
pub(crate) const CLIENTS: usize = 32;

/// What is compared, and what tables call it.
pub(crate) const BOTH: [(bool, &str); 2] = [(false, "tidewait, as proxy"), (true, "nginx, as proxy")];

/// One round of one of the two.
pub(crate) fn run(
    (is_nginx, who): (bool, &'static str),
    place: &Place,
    extent: &Extent,
    figures: &mut Figures,
) -> Outcome<()> {
    let mut proxy = Proxy::start(is_nginx, place)?;
    for ((path, length), (requests, what)) in
        PAGES.into_iter().zip([(extent.proxied, What::ProxySmall), (extent.proxied / 20, What::ProxyLarge)])
    {
        let expected = Expected::Whole(page(length));
        let mut crowd = Crowd::new(proxy.address, Request::Page(path), expected.clone())?;
        crowd.grow(CLIENTS)?;
        crowd.until_told(4 * CLIENTS)?;
        crowd.expect(expected, Again::AtOnce);
        let before = proxy.process.cpu();
        crowd.until_told(requests)?;
        let cpu = proxy.process.cpu().saturating_sub(before);
        figures.add(what, who, CLIENTS, micros_each(cpu, requests));
        crowd.expect(Expected::Whole(page(length)), Again::WhenAsked);
        crowd.until_told(CLIENTS)?;
        crowd.verdict(CLIENTS)?;
    }
    Ok(())
}
