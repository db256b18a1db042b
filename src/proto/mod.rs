//! The protocols that clients and front ends speak: bytes in, events out, every limit named. Knows no Python.

pub mod budget;
pub mod fastcgi;
pub mod http1;
pub mod limits;
pub mod proxy;
pub mod rate;
pub mod refusal;
pub mod scgi;
pub mod tls;
pub mod uwsgi;
