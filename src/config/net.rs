//! Who may steer over the network, and where feedback goes: addresses as they stand in a settings
//! file.

use std::net::{IpAddr, SocketAddr};

use super::kind::Kind;

/// An address, or all that begin alike: `192.168.1.7`, `192.168.1.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// How many bits count.
    bits: u32,
}

impl Network {
    pub fn read(text: &str) -> Option<Self> {
        let (address, bits) = match text.trim().split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Network { address, bits })
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = u32::from(own) ^ u32::from(other);
                self.bits == 0 || differ >> (32 - self.bits) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = u128::from(own) ^ u128::from(other);
                self.bits == 0 || differ >> (128 - self.bits) == 0
            }
            _ => false,
        }
    }
}

/// Where feedback goes whether or not it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedbackTo {
    pub to: SocketAddr,
    /// Positions of faders, 0 to 1, instead of values.
    pub place: bool,
}

/// `192.168.1.7:9000`, `192.168.1.7:9000#place`.
pub fn feedback_to() -> Kind<FeedbackTo> {
    let allowed = "ADDRESS:PORT such as 192.168.1.7:9000, with #place behind it for positions \
                   from 0 to 1";
    Kind::new(allowed, |t| {
        let t = t.trim();
        let (to, place) = match t.strip_suffix("#place") {
            Some(to) => (to, true),
            None => (t, false),
        };
        let to: SocketAddr = to.replacen("localhost:", "127.0.0.1:", 1).parse().ok()?;
        (to.port() != 0).then_some(FeedbackTo { to, place })
    })
}

pub fn network() -> Kind<Network> {
    let allowed = "an address or a network, such as 192.168.1.7 or 192.168.1.0/24";
    Kind::new(allowed, Network::read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_those_that_begin_alike() {
        let has = |network: &str, address: &str| {
            Network::read(network).unwrap().contains(address.parse().unwrap())
        };
        assert!(has("192.168.1.0/24", "192.168.1.77"));
        assert!(has("192.168.1.77/24", "192.168.1.1"));
        assert!(!has("192.168.1.0/24", "192.168.2.77"));
        assert!(has("10.0.0.7", "10.0.0.7") && !has("10.0.0.7", "10.0.0.8"));
        assert!(has("0.0.0.0/0", "8.8.8.8") && has("::/0", "fe80::1"));
        assert!(has("fe80::/10", "fe80::1") && !has("fe80::/10", "2001:db8::1"));
        // An IPv4 sender, as a socket of both kinds names it.
        assert!(has("10.0.0.0/8", "::ffff:10.1.2.3"));
        for bad in ["10.0.0.0/33", "10.0.0", "stage", "10.0.0.0/-1", "/8", ""] {
            assert!(Network::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn feedback_goes_to_an_address_with_a_port() {
        let read = |text: &str| feedback_to().read(text);
        assert!(!read("192.168.1.7:9000").unwrap().place);
        assert!(read("192.168.1.7:9000#place").unwrap().place);
        assert!(read("localhost:9000").unwrap().to.ip().is_loopback());
        for bad in ["192.168.1.7", "192.168.1.7:0", "tablet:9000", "192.168.1.7:9000#knobs"] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
