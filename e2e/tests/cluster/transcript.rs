//! Commands in a Markdown text with what they print: blocks that are indented by four spaces, a command behind `$ `,
//! what it prints below it. There `…` stands for any words at the end of a line, and alone for any lines.

use anyhow::{Context, Result, ensure};

/// An indented block.
#[derive(Debug, PartialEq)]
pub(crate) enum Block {
    /// One without commands.
    Manifest(String),
    /// One of commands.
    Steps(Vec<Step>),
}

/// A command and what it prints, line by line.
#[derive(Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) command: String,
    pub(crate) printed: Vec<String>,
}

/// The blocks of the section with this heading.
pub(crate) fn blocks(text: &str, heading: &str) -> Result<Vec<Block>> {
    let (_, section) = text.split_once(&format!("\n{heading}\n")).with_context(|| format!("no {heading}"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut blocks = Vec::new();
    let lines: Vec<_> = section.lines().map(|line| line.strip_prefix("    ")).collect();
    for block in lines.split(Option::is_none).filter(|block| !block.is_empty()) {
        let lines: Vec<_> = block.iter().flatten().copied().collect();
        blocks.push(if lines[0].starts_with("$ ") {
            Block::Steps(steps(&lines)?)
        } else {
            Block::Manifest(lines.join("\n") + "\n")
        });
    }
    Ok(blocks)
}

fn steps(lines: &[&str]) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for line in lines {
        match line.strip_prefix("$ ") {
            Some(command) => steps.push(Step { command: command.to_owned(), printed: Vec::new() }),
            None => steps.last_mut().context("no command")?.printed.push((*line).to_owned()),
        }
    }
    Ok(steps)
}

/// Whether `printed` is like the lines of `expected`: the same words, but for numbers, names with numbers, and the
/// width of columns.
pub(crate) fn is_like(expected: &[String], printed: &str) -> Result<()> {
    let words: Vec<_> = printed.lines().map(words).filter(|words| !words.is_empty()).collect();
    let mut at = 0;
    let mut anywhere = false;
    for line in expected {
        if line.trim() == "…" {
            anywhere = true;
            continue;
        }
        let wanted = words_of_expected(line);
        let found = words[at..].iter().position(|words| wanted.is(words));
        let found = found.filter(|skipped| anywhere || *skipped == 0);
        let skipped =
            found.with_context(|| format!("it does not print {line:?} in its place, but\n{printed}"))?;
        at += skipped + 1;
        anywhere = false;
    }
    ensure!(anywhere || at == words.len(), "it prints more, from {:?} on:\n{printed}", words[at]);
    Ok(())
}

struct Wanted {
    words: Vec<String>,
    more: bool,
}

impl Wanted {
    fn is(&self, words: &[String]) -> bool {
        if self.more { words.starts_with(&self.words) } else { self.words == words }
    }
}

fn words_of_expected(line: &str) -> Wanted {
    let mut words = words(line);
    let more = words.last().is_some_and(|word| word == "…");
    words.truncate(words.len() - usize::from(more));
    Wanted { words, more }
}

/// Words with a digit are one like the other; a rule of any length is one.
fn words(line: &str) -> Vec<String> {
    let word = |word: &str| match word {
        _ if word.contains(|c: char| c.is_ascii_digit()) => "#".to_owned(),
        _ => {
            let mut word = word.to_owned();
            word.retain(|c| c != '─');
            word
        }
    };
    line.split_whitespace().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_section_has_manifests_and_commands_with_what_they_print() {
        let text = "# A\n\n## B\n\nSay:\n\n    a: 1\n      b: 2\n\nand\n\n    $ one\n    1\n    $ two\n\n## C\n\n    $ three\n";
        let step =
            |command: &str, printed: &str| Step { command: command.to_owned(), printed: lines(printed) };
        let found = blocks(text, "## B").expect("the section");
        assert_eq!(
            found,
            [
                Block::Manifest("a: 1\n  b: 2\n".to_owned()),
                Block::Steps(vec![step("one", "1"), step("two", "")])
            ]
        );
        assert!(blocks(text, "## D").is_err());
    }

    #[test]
    fn numbers_and_widths_may_differ_and_words_may_not() {
        let expected = lines("NAME   AGE\n…\nnyc    51s\nEvents:  …");
        assert!(is_like(&expected, "NAME      AGE\n\nnyc       2m3s\nEvents: <none>\n").is_ok());
        assert!(is_like(&expected, "NAME      AGE\nldn  1s\nnyc       2m3s\nEvents:\n").is_ok());
        for wrong in ["NAME AGE\nldn 1s\nEvents:", "NAME\nnyc 1s\nEvents:", "NAME AGE\nnyc 1s\nEvents:\nmore"]
        {
            assert!(is_like(&expected, wrong).is_err(), "{wrong}");
        }
    }
}
