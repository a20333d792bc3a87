//! Tests of the packet path, in virtual time, with packets made by hand.

mod ipv6;
mod net;
mod packet;

mod bridged;
mod fragments;
mod handover;
mod hit;
mod icmp;
mod kernel;
mod lan;
mod masquerade;
mod offload;
mod policy;
mod random;
mod sight;
mod tcp;
mod udp;
mod uplink;
mod vlan;
mod wan;
