//! x
/// Offer
#[derive(Debug)]
pub struct Offer;
/// S
#[derive(Debug)]
pub struct Store;
