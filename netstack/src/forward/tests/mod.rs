//! Tests of the packet path, in virtual time, with packets made by hand.

mod net;
mod packet;

mod udp;
