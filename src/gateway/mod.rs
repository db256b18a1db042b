//! WSGI and CGI rules without Python: the environ, response heads, the states of a PEP 3333 response.
