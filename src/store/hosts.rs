//! The servers of a connection string, one by one: one that hangs does not hide the next.
//!
//! Invariant: each is given so long to take a session, and whoever gives up on one leaves the next to be tried first. It
//! runs no statements.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio_postgres::{
    Config, Error,
    config::{Host, LoadBalanceHosts},
};

/// How long reaching a server may take; the connection string may say otherwise.
pub const CONNECT: Duration = Duration::from_secs(5);

/// The servers of one connection string; a clone shares which of them is tried first.
#[derive(Clone)]
pub struct Hosts {
    each: Arc<[Config]>,
    first: Arc<AtomicUsize>,
}

impl Hosts {
    /// Takes a connection string with several hosts apart.
    ///
    /// # Errors
    /// Hosts, addresses and ports are not of one number.
    pub fn of(config: &Config) -> Result<Self, String> {
        let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
        let count = hosts.len().max(addresses.len());
        let fits = |length: usize| length == 0 || length == count;
        if !fits(hosts.len()) || !fits(addresses.len()) || !(fits(ports.len()) || ports.len() == 1) {
            return Err(String::from("names another number of hosts than of addresses or ports"));
        }
        let each: Arc<[Config]> = (0..count).map(|at| only(config, at)).collect();
        let random = config.get_load_balance_hosts() == LoadBalanceHosts::Random;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let first = if random { since.subsec_micros() as usize % count.max(1) } else { 0 };
        Ok(Self { each, first: Arc::new(AtomicUsize::new(first)) })
    }

    /// What `open` makes of the first server that takes it.
    ///
    /// # Errors
    /// None does; the word of the last.
    pub async fn first_that<T, F>(&self, open: impl Fn(Config) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (count, begin) = (self.each.len(), self.first.load(Ordering::Relaxed));
        let mut refused = Error::__private_api_timeout();
        for at in (begin..begin + count).map(|at| at % count) {
            // Should the caller give up, too, the next one to ask begins behind the one that hangs.
            self.first.store((at + 1) % count, Ordering::Relaxed);
            // Once to be reached, and as long again to let the session in and set it up.
            let most = self.each[at].get_connect_timeout().copied().unwrap_or(CONNECT) * 2;
            match tokio::time::timeout(most, open(self.each[at].clone())).await {
                Ok(Ok(opened)) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(opened);
                }
                Ok(Err(error)) => refused = error,
                // The one way to an error of the library's own that says so, which the pool wants.
                Err(_) => refused = Error::__private_api_timeout(),
            }
        }
        Err(refused)
    }
}

/// The same connection string with its host number `at` alone.
fn only(config: &Config, at: usize) -> Config {
    let mut one = Config::new();
    match config.get_hosts().get(at) {
        Some(Host::Tcp(name)) => _ = one.host(name),
        Some(Host::Unix(path)) => _ = one.host_path(path),
        None => {}
    }
    config.get_hostaddrs().get(at).map(|address| one.hostaddr(*address));
    config.get_ports().get(at).or(config.get_ports().first()).map(|port| one.port(*port));
    config.get_user().map(|user| one.user(user));
    config.get_password().map(|password| one.password(password));
    config.get_dbname().map(|name| one.dbname(name));
    config.get_options().map(|options| one.options(options));
    config.get_application_name().map(|name| one.application_name(name));
    config.get_connect_timeout().map(|timeout| one.connect_timeout(*timeout));
    config.get_tcp_user_timeout().map(|timeout| one.tcp_user_timeout(*timeout));
    config.get_keepalives_interval().map(|interval| one.keepalives_interval(interval));
    config.get_keepalives_retries().map(|retries| one.keepalives_retries(retries));
    one.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "host=a,b hostaddr=10.0.0.1,10.0.0.2 port=1,2 user=u password=p dbname=d options=o \
        application_name=n sslmode=require sslnegotiation=direct connect_timeout=3 tcp_user_timeout=4 keepalives=0 \
        keepalives_idle=5 keepalives_interval=6 keepalives_retries=7 target_session_attrs=read-write \
        channel_binding=require load_balance_hosts=random";

    fn config(text: &str) -> Config {
        text.parse().expect("a connection string")
    }

    #[test]
    fn each_host_keeps_all_that_the_string_says() {
        let hosts = Hosts::of(&config(ALL)).expect("hosts");
        let second = ALL.replace("a,b", "b").replace("10.0.0.1,10.0.0.2", "10.0.0.2").replace("1,2", "2");
        assert_eq!(hosts.each[1], config(&second));
        let [a, b] = &*Hosts::of(&config("host=a,/run/b port=5433")).expect("hosts").each else { panic!("two") };
        assert_eq!((a, b), (&config("host=a port=5433"), &config("host=/run/b port=5433")));
        assert!(Hosts::of(&config("host=a,b port=1,2,3")).is_err());
    }

    #[test]
    fn one_that_hangs_is_given_up_and_the_next_tried_also_where_the_caller_gives_up_before() {
        let of = |text: &str| Hosts::of(config(text).connect_timeout(Duration::from_millis(20))).expect("hosts");
        let open = async |config: Config| match config.get_hosts() {
            [Host::Tcp(name)] if name == "answers" => Ok(()),
            [Host::Tcp(name)] if name == "hangs" => std::future::pending().await,
            _ => Err("colour=red".parse::<Config>().expect_err("no option")),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let hosts = of("host=hangs,refuses,answers");
            let early = tokio::time::timeout(Duration::from_millis(1), hosts.first_that(open)).await;
            assert!(early.is_err(), "the first hangs");
            assert_eq!(hosts.first.load(Ordering::Relaxed), 1);
            hosts.first.store(0, Ordering::Relaxed);
            hosts.first_that(open).await.expect("the third");
            assert_eq!(hosts.first.load(Ordering::Relaxed), 2, "the next session begins with it");
            assert!(of("host=hangs").first_that(open).await.is_err(), "in the end that is told");
        });
    }
}
