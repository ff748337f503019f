//! Whose a credential is, where that takes time: an API server, an issuer or a costly hash is asked. Each way is a module of
//! its own, which turns a credential into a [`Verified`](crate::access::Verified) or says why not; none of them keeps verdicts:
//! `http::access` does, for all of them.
