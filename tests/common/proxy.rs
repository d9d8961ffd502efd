//! A wire between clients and a broker that can be cut: connections break, and new ones are refused until it is mended.
//!
//! It holds no assertions, and ends with its guard.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// A listener whose connections go to another address.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    wire: Arc<Wire>,
}

#[derive(Debug, Default)]
struct Wire {
    to: Mutex<String>,
    cut: AtomicBool,
    ended: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens on a free port; until [`Proxy::leads_to`] says where to, it takes no connection.
    pub fn listen() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let wire = Arc::new(Wire { cut: AtomicBool::new(true), ..Wire::default() });
        let accepting = Arc::clone(&wire);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                // A client that broke off by itself is none.
                let Ok(stream) = stream else { continue };
                accepting.join(stream);
            }
        });
        Self { port, wire }
    }

    /// The port that clients are told.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where connections go from now on.
    pub fn leads_to(&self, address: &str) {
        address.clone_into(&mut *locked(&self.wire.to));
        self.mend();
    }

    /// Breaks every connection and takes no new one.
    pub fn cut(&self) {
        self.wire.cut.store(true, Ordering::Relaxed);
        self.wire.break_all();
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.wire.cut.store(false, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.wire.ended.store(true, Ordering::Relaxed);
        self.cut();
        // Wakes the listener, which then ends; where that fails it ends with the process.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Wire {
    fn join(self: &Arc<Self>, client: TcpStream) {
        if self.cut.load(Ordering::Relaxed) {
            return;
        }
        let to = locked(&self.to).clone();
        let Ok(broker) = TcpStream::connect(to) else { return };
        let pairs = [(&client, &broker), (&broker, &client)];
        for (from, to) in pairs {
            let (Ok(from), Ok(to), Ok(kept)) = (from.try_clone(), to.try_clone(), from.try_clone()) else { return };
            locked(&self.open).push(kept);
            thread::spawn(move || pass(from, to));
        }
        // Cut while it was joined: it was not among those that were broken.
        if self.cut.load(Ordering::Relaxed) {
            self.break_all();
        }
    }

    fn break_all(&self) {
        for stream in locked(&self.open).drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Until one side ends; then both do.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
