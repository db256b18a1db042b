//! The protocols as bytes in and events out: the uwsgi packet, what HTTP heads must look like, the adapter over hyper.
