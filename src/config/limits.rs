//! What all processes of a vassal together may use (`vassals-limit`, and keys of the section `[emperor]`).

use serde::{Deserialize, Serialize};

use super::vassals;

/// The weight of a group of which nothing is said, and the greatest (`cpu.weight` of the kernel).
const WEIGHT: u64 = 100;
const HEAVIEST: u64 = 10_000;

/// What all processes of a vassal together may use; `None`: as much as there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory in bytes (`memory-max`).
    pub memory_bytes: Option<u64>,
    /// Time of CPUs in percent of one (`cpu-max`).
    pub cpu_percent: Option<u64>,
    /// Its share of busy CPUs (`cpu-weight`), where that of a vassal of which nothing is said is 100.
    pub cpu_weight: Option<u64>,
    /// Processes and threads (`pids-max`).
    pub processes: Option<u64>,
}

/// A limit for all vassals, or those whose names match a shell pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The pattern; `None`: all.
    pub vassals: Option<String>,
    /// The limits.
    pub limits: Limits,
}

impl Limits {
    /// The names of the limits.
    pub const NAMES: [&str; 4] = ["memory-max", "cpu-max", "cpu-weight", "pids-max"];

    /// Sets a limit by its name; answers whether there is one of that name.
    ///
    /// # Errors
    /// The value is none.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number > 0);
        let (place, read) = match name {
            "memory-max" => (&mut self.memory_bytes, bytes(value)),
            "cpu-max" => (&mut self.cpu_percent, number(value.trim_end_matches('%'))),
            "cpu-weight" => (&mut self.cpu_weight, number(value).filter(|weight| *weight <= HEAVIEST)),
            "pids-max" => (&mut self.processes, number(value)),
            _ => return Ok(false),
        };
        if value == "max" && name != "cpu-weight" {
            *place = None;
            return Ok(true);
        }
        let hint = if name == "cpu-weight" { "1 to 10000" } else { "512M, 50%, 100, max" };
        *place = Some(read.ok_or_else(|| format!("`{value}` is no {name} ({hint})"))?);
        Ok(true)
    }

    /// Those of `other` where it has some.
    #[must_use]
    pub fn or_those_of(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.or(other.memory_bytes),
            cpu_percent: self.cpu_percent.or(other.cpu_percent),
            cpu_weight: self.cpu_weight.or(other.cpu_weight),
            processes: self.processes.or(other.processes),
        }
    }

    /// The lower ones: `other` can lower these.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let lower = |one: Option<u64>, two: Option<u64>| one.into_iter().chain(two).min();
        Self {
            memory_bytes: lower(self.memory_bytes, other.memory_bytes),
            cpu_percent: lower(self.cpu_percent, other.cpu_percent),
            // Of whom nothing is said has the kernel's own for all.
            cpu_weight: match other.cpu_weight {
                Some(weight) => Some(weight.min(self.cpu_weight.unwrap_or(WEIGHT))),
                None => self.cpu_weight,
            },
            processes: lower(self.processes, other.processes),
        }
    }

    /// The weight of a vassal whose processes have this nice value (`prio`): to other groups they are as nice as to other
    /// processes, each step of a fifth less. Nobody gives himself more than others have.
    #[must_use]
    pub fn of_nice(nice: i32) -> Self {
        let thousandths = (0..nice).fold(WEIGHT * 1000, |weight, _| weight * 4 / 5);
        let cpu_weight = (nice > 0).then(|| ((thousandths + 500) / 1000).max(1));
        Self { cpu_weight, ..Self::default() }
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl Rule {
    /// Reads `memory-max=512M`, or `PATTERN memory-max=512M`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (vassals, said) = match text.trim().rsplit_once([' ', '\t']) {
            Some((vassals, said)) => (Some(vassals.trim().to_owned()), said),
            None => (None, text.trim()),
        };
        let mut limits = Limits::default();
        let (name, value) = said.split_once('=').ok_or("this is not of the form name=value")?;
        if !limits.set(name, value)? {
            return Err(format!("there is no limit `{name}`: there are {}", Limits::NAMES.join(", ")));
        }
        if let Some(Err(error)) = vassals.as_deref().map(|one| glob::Pattern::new(&vassals::shell(one))) {
            return Err(format!("this is no pattern: {}", error.msg));
        }
        Ok(Self { vassals, limits })
    }

    /// What these rules say of a vassal: of each limit the last that does.
    #[must_use]
    pub fn of(rules: &[Self], vassal: &str) -> Limits {
        let concerns = |rule: &&Self| {
            rule.vassals.as_deref().is_none_or(|one| {
                glob::Pattern::new(&vassals::shell(one)).is_ok_and(|pattern| pattern.matches(vassal))
            })
        };
        rules.iter().filter(concerns).fold(Limits::default(), |limits, rule| rule.limits.or_those_of(limits))
    }
}

/// A number of bytes: `1048576`, `512M`, `2G`.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = match text.find(|letter: char| !letter.is_ascii_digit()) {
        Some(end) => text.split_at_checked(end)?,
        None => (text, ""),
    };
    let shift = match unit.to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_that_concerns_a_vassal_counts() {
        let rules: Vec<Rule> = [
            "memory-max=512M",
            "pids-max=100",
            "a*.ini memory-max=2GiB",
            "b c.ini pids-max=7",
            "cpu-max=150%",
            "a*.ini cpu-weight=20",
        ]
        .map(|text| Rule::parse(text).unwrap())
        .into();
        for (vassal, memory, processes, weight) in [
            ("x.ini", 512 << 20, 100, None),
            ("abc.ini", 2 << 30, 100, Some(20)),
            ("b c.ini", 512 << 20, 7, None),
        ] {
            let expected = Limits {
                memory_bytes: Some(memory),
                cpu_percent: Some(150),
                cpu_weight: weight,
                processes: Some(processes),
            };
            assert_eq!(Rule::of(&rules, vassal), expected, "{vassal}");
        }
        for bad in [
            "",
            "memory",
            "memory-max=",
            "memory-max=0",
            "memory-max=1X",
            "disk-max=1",
            "[ pids-max=1",
            "pids-max=-1",
            "cpu-weight=0",
            "cpu-weight=10001",
            "cpu-weight=max",
        ] {
            assert!(Rule::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tenant_lowers_and_never_raises() {
        let ours = Limits { memory_bytes: Some(10), processes: Some(5), ..Limits::default() };
        let his =
            Limits { memory_bytes: Some(20), cpu_percent: Some(7), processes: Some(3), cpu_weight: None };
        assert_eq!(
            ours.and(his),
            Limits { memory_bytes: Some(10), cpu_percent: Some(7), processes: Some(3), cpu_weight: None }
        );
        for (ours, his, expected) in [
            (None, Some(500), Some(100)),
            (None, Some(20), Some(20)),
            (Some(300), Some(500), Some(300)),
            (Some(300), None, Some(300)),
        ] {
            let weight = |cpu_weight| Limits { cpu_weight, ..Limits::default() };
            assert_eq!(weight(ours).and(weight(his)), weight(expected));
        }
        assert_eq!(his.or_those_of(ours), his);
        assert_eq!(Limits::default().or_those_of(ours), ours);
    }

    #[test]
    fn a_nice_vassal_weighs_as_little_as_its_processes() {
        // As the kernel's own table has it.
        for (nice, weight) in [
            (-20, None),
            (0, None),
            (1, Some(80)),
            (5, Some(33)),
            (10, Some(11)),
            (18, Some(2)),
            (19, Some(1)),
        ] {
            assert_eq!(Limits::of_nice(nice).cpu_weight, weight, "{nice}");
        }
    }
}
