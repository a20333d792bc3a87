//! Types of the configuration options of LCP (RFC 1661 §6, RFC 1662 §7), IPCP (RFC 1332 §3, RFC 1877 §1) and IPV6CP (RFC
//! 5072 §4).

/// Types of LCP options.
pub mod lcp_option {
    /// Maximum-Receive-Unit: 2 octets.
    pub const MRU: u8 = 1;
    /// Async-Control-Character-Map: 4 octets. Always rejected: it means nothing on Ethernet.
    pub const ACCM: u8 = 2;
    /// Authentication-Protocol: 2 octets of protocol, then data of its own.
    pub const AUTHENTICATION: u8 = 3;
    /// Quality-Protocol. Always rejected.
    pub const QUALITY: u8 = 4;
    /// Magic-Number: 4 octets, not zero.
    pub const MAGIC: u8 = 5;
    /// Protocol-Field-Compression. Always rejected: RFC 2516 §7 advises against it.
    pub const PFC: u8 = 7;
    /// Address-and-Control-Field-Compression. Always rejected (RFC 2516 §7).
    pub const ACFC: u8 = 8;
    /// FCS-Alternatives. Always rejected (RFC 2516 §7).
    pub const FCS_ALTERNATIVES: u8 = 9;
}

/// Types of IPCP options.
pub mod ipcp_option {
    /// IP-Addresses, deprecated (RFC 1332 §3.1). Always rejected.
    pub const ADDRESSES: u8 = 1;
    /// IP-Compression-Protocol (RFC 1332 §3.2). Always rejected.
    pub const COMPRESSION: u8 = 2;
    /// IP-Address: 4 octets, 0.0.0.0 to ask for one (RFC 1332 §3.3).
    pub const ADDRESS: u8 = 3;
    /// Primary DNS server address: 4 octets, 0.0.0.0 to ask for it (RFC 1877 §1.1).
    pub const PRIMARY_DNS: u8 = 129;
    /// Secondary DNS server address (RFC 1877 §1.3).
    pub const SECONDARY_DNS: u8 = 131;
}

/// Types of IPV6CP options.
pub mod ipv6cp_option {
    /// Interface-Identifier: 8 octets, not zero (RFC 5072 §4.1).
    pub const INTERFACE_IDENTIFIER: u8 = 1;
}
