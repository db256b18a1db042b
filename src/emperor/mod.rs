//! The emperor: watches directories, keeps one instance for each vassal file, adopts nothing it cannot prove.
