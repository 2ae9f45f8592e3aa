//! Where requests come from. Any page that a browser shows may send requests to this machine, and
//! by a name of its own that leads here it could even read the answers. So the name by which the
//! server is called must be one of this machine, and whatever computes must be asked for by our own
//! page or by a program.

use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};

/// The names of this machine.
const NAMES: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Whether the server is called by a name of this machine, with its own port.
pub(super) fn is_local(headers: &HeaderMap, port: u16) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(|host| is_ours(host, port)),
        _ => false,
    }
}

/// Whether the request comes from the page of this server, or from a program other than a browser.
pub(super) fn is_own(headers: &HeaderMap, port: u16) -> bool {
    let is_ours =
        |origin: &str| origin.strip_prefix("http://").is_some_and(|host| is_ours(host, port));
    let all = |name: &str, accepted: &dyn Fn(&str) -> bool| {
        headers.get_all(name).iter().all(|value| value.to_str().is_ok_and(accepted))
    };
    all(ORIGIN.as_str(), &is_ours)
        && all("sec-fetch-site", &|site| ["same-origin", "none"].contains(&site))
}

/// Whether `host` is `NAME:PORT`, or `NAME` for the port that need not be written.
fn is_ours(host: &str, port: u16) -> bool {
    NAMES.iter().any(|name| {
        let rest = host.get(..name.len()).filter(|head| head.eq_ignore_ascii_case(name));
        match rest.map(|_| &host[name.len()..]) {
            Some("") => port == 80,
            Some(rest) => rest.strip_prefix(':').is_some_and(|given| given == port.to_string()),
            None => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let parse = |(name, value): &(&str, &str)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        pairs.iter().map(parse).for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        let local = |host: &str, port| is_local(&headers(&[("host", host)]), port);
        for host in ["127.0.0.1:7800", "localhost:7800", "LocalHost:7800", "[::1]:7800"] {
            assert!(local(host, 7800), "{host}");
        }
        for host in [
            "evil.example:7800",
            "evil.example",
            "127.0.0.1.evil.example:7800",
            "localhost.evil.example:7800",
            "127.0.0.1:7801",
            "127.0.0.1",
            "localhost:",
            "localhost:07800",
            "",
            "é",
        ] {
            assert!(!local(host, 7800), "{host}");
        }
        assert!(local("localhost", 80) && local("localhost:80", 80));
        assert!(!is_local(&headers(&[]), 7800));
        let both = headers(&[("host", "localhost:7800"), ("host", "evil.example")]);
        assert!(!is_local(&both, 7800));
    }

    #[test]
    fn other_pages_do_not_make_it_compute() {
        let own = |pairs: &[(&str, &str)]| is_own(&headers(pairs), 7800);
        assert!(own(&[]));
        assert!(own(&[("origin", "http://localhost:7800"), ("sec-fetch-site", "same-origin")]));
        assert!(own(&[("sec-fetch-site", "none")]));
        for (name, value) in [
            ("origin", "http://evil.example"),
            ("origin", "https://localhost:7800"),
            ("origin", "http://localhost:7801"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!own(&[(name, value)]), "{name}: {value}");
        }
        assert!(!own(&[("origin", "http://localhost:7800"), ("origin", "http://evil.example")]));
    }
}
