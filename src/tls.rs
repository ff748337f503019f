//! TLS for the ports of the process: certificates and keys that are followed in their files, handshakes, and the connections
//! that come of them.
