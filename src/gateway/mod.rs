//! WSGI and CGI rules without Python: what goes into an environ, what may come out as a response.

pub mod draft;
pub mod environ;
pub mod exception;
pub mod head;
pub mod mount;
pub mod packet;
pub mod peer;
pub mod response;
pub mod routes;
pub mod shown;
pub mod static_files;
pub mod variable;
pub mod websocket;
