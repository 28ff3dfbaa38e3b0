//! Tells the local network that there is OSC and OSCQuery here, by mDNS (RFC 6762), so that
//! programs find the show by itself.

use std::net::{IpAddr, SocketAddr};

use mdns_sd::{ServiceDaemon, ServiceInfo};

use crate::config;

/// Goes on until it is dropped.
pub struct Announced {
    daemon: ServiceDaemon,
}

impl Drop for Announced {
    fn drop(&mut self) {
        // It says goodbye by itself, and nobody waits for that.
        let _ = self.daemon.shutdown();
    }
}

/// Announces what is asked for; a network that does not take it is no reason not to play.
pub fn announce(
    settings: &config::Osc,
    osc: SocketAddr,
    query: Option<SocketAddr>,
    name: &str,
) -> Option<Announced> {
    let reached = |address: SocketAddr| !address.ip().is_loopback();
    let wanted = |address: SocketAddr| settings.announce.unwrap_or(reached(address));
    let services: Vec<_> = [("_osc._udp.local.", Some(osc)), ("_oscjson._tcp.local.", query)]
        .into_iter()
        .filter_map(|(kind, address)| Some((kind, address.filter(|a| wanted(*a))?)))
        .collect();
    if services.is_empty() {
        return None;
    }
    let told = || -> mdns_sd::Result<Announced> {
        let announced = Announced { daemon: ServiceDaemon::new()? };
        for (kind, address) in services {
            announced.daemon.register(service(kind, address, name)?)?;
        }
        Ok(announced)
    };
    match told() {
        Ok(announced) => Some(announced),
        Err(error) => {
            tracing::warn!("OSC is not announced in the network: {error}");
            None
        }
    }
}

/// Announces one service, where other machines can reach it.
pub fn announce_one(kind: &str, address: SocketAddr, name: &str) -> Option<Announced> {
    if address.ip().is_loopback() {
        return None;
    }
    let told = || -> mdns_sd::Result<Announced> {
        let announced = Announced { daemon: ServiceDaemon::new()? };
        announced.daemon.register(service(kind, address, name)?)?;
        Ok(announced)
    };
    told().map_err(|error| tracing::warn!("{kind} is not announced in the network: {error}")).ok()
}

fn service(kind: &str, address: SocketAddr, name: &str) -> mdns_sd::Result<ServiceInfo> {
    let instance = format!("Visual FaQtory Live ({name})");
    // As many bytes as a label of DNS has.
    let end = instance.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= 63);
    let instance = &instance[..end.last().unwrap_or(0)];
    let host = format!("vfaq-{}.local.", address.port());
    let properties = [("txtvers", "1")];
    let ip = address.ip();
    let everywhere = ip.is_unspecified();
    let own: &[IpAddr] = if everywhere { &[] } else { std::slice::from_ref(&ip) };
    let info = ServiceInfo::new(kind, instance, &host, own, address.port(), &properties[..])?;
    Ok(if everywhere { info.enable_addr_auto() } else { info })
}
