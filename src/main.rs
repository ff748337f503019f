//! `tidewait`.

fn main() {}
