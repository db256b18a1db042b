//! Text becomes typed, comparable specs. Pure: files and environment come in through a closure.

pub mod address;
pub mod diagnostic;
pub mod emperor;
pub mod instance;
