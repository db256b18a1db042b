//! Arithmetic inside `%( … )`: tokens from left to right, without precedence, as uWSGI does it, with parentheses.

/// How deep parentheses nest before they no longer count.
const DEPTH_MAX: usize = 32;

/// Evaluates what stands between the parentheses; `None` where there is nothing but operators. `lookup` gives the value
/// of a placeholder; a missing one is empty.
pub(super) fn evaluate(text: &str, lookup: &mut impl FnMut(&str) -> Option<String>) -> Option<String> {
    let mut tokens = tokens(text).into_iter();
    group(&mut tokens, lookup, 0)
}

#[derive(Clone, Copy)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

fn group<'a>(
    tokens: &mut impl Iterator<Item = &'a str>,
    lookup: &mut impl FnMut(&str) -> Option<String>,
    depth: usize,
) -> Option<String> {
    let mut result: Option<String> = None;
    let mut operator = None;
    while let Some(token) = tokens.next() {
        let operand = match token {
            "+" => {
                operator = Some(Operator::Add);
                continue;
            }
            "-" => {
                operator = Some(Operator::Subtract);
                continue;
            }
            "*" => {
                operator = Some(Operator::Multiply);
                continue;
            }
            "/" => {
                operator = Some(Operator::Divide);
                continue;
            }
            "++" => {
                result = result.map(|result| integer(&result).saturating_add(1).to_string());
                continue;
            }
            "--" => {
                result = result.map(|result| integer(&result).saturating_sub(1).to_string());
                continue;
            }
            "(" if depth < DEPTH_MAX => group(tokens, lookup, depth.saturating_add(1)).unwrap_or_default(),
            "(" => continue,
            ")" if depth > 0 => return result,
            ")" => continue,
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => number.to_owned(),
            name => lookup(name).unwrap_or_default(),
        };
        let before = result.take().unwrap_or_default();
        result = Some(match operator.take() {
            None => before + &operand,
            Some(operator) => apply(operator, integer(&before), integer(&operand)).to_string(),
        });
    }
    result
}

fn apply(operator: Operator, left: i64, right: i64) -> i64 {
    match operator {
        Operator::Add => left.saturating_add(right),
        Operator::Subtract => left.saturating_sub(right),
        Operator::Multiply => left.saturating_mul(right),
        Operator::Divide => left.checked_div(right).unwrap_or(0),
    }
}

/// The leading digits, as C's `atoi` reads them.
fn integer(text: &str) -> i64 {
    super::value::integer(text).0
}

/// Words, with the parentheses at their ends as words of their own.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for mut word in text.split(' ').filter(|word| !word.is_empty()) {
        while let Some(rest) = word.strip_prefix('(') {
            tokens.push("(");
            word = rest;
        }
        let name = word.trim_end_matches(')');
        if !name.is_empty() {
            tokens.push(name);
        }
        tokens.extend(word.get(name.len()..).unwrap_or_default().chars().map(|_| ")"));
    }
    tokens
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pipelines_go_from_left_to_right() {
        for (text, expected) in [
            ("foo + bar + 3", "50"),
            ("foo + bar + 3 * 2", "100"),
            ("foo ++", "18"),
            ("foo --", "16"),
            ("foo bar ++", "1731"),
            ("foo / 2", "8"),
            ("foo / 0", "0"),
            ("nope + 1", "1"),
            ("2 * 3", "6"),
            (" foo ", "17"),
            ("foo * 1.5", "0"),
            ("(2 * 2) + 1", "5"),
            ("2 * (1 + (foo - 10))", "16"),
            ("9223372036854775807 + 1", "9223372036854775807"),
            ("2 +", "2"),
            (") 3", "3"),
            ("nope ++", "1"),
            ("nope nope", ""),
            ("++ 3", "3"),
            ("-- 3 --", "2"),
            ("+ 3", "3"),
        ] {
            let mut lookup = |name: &str| match name {
                "foo" => Some("17".to_owned()),
                "bar" => Some("30".to_owned()),
                _ => None,
            };
            assert_eq!(evaluate(text, &mut lookup).as_deref(), Some(expected), "{text}");
        }
        for text in [" ", "+", "++ --", " * "] {
            assert_eq!(evaluate(text, &mut |_| None), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[-+*/() 0-9a]{0,60}") {
            evaluate(&text, &mut |_| None);
        }
    }
}
