// Package excerpt shortens texts that come from functions of programs and from other processes: what a function
// panicked with, an error with its stacks, a line of a log. It keeps an error and a log readable whatever such a text
// holds. It does not look at the text's meaning, and leaves no secrets out.
package excerpt

import (
	"fmt"
	"unicode/utf8"
)

// How many bytes a person reads of a text.
const (
	Value = 1 << 10  // of one value: of a panic, of a field in a log line
	Text  = 16 << 10 // of an error, which may hold a stack
)

// least is the smallest size in which the mark has room between a beginning and an end that say anything.
const least = 96

// Of returns text if it has at most size bytes. Otherwise it returns the beginning and the end of text, and between them
// how many bytes are left out; a quarter of what is kept is the end. Where size is too small for that, it returns the
// beginning alone. The result has at most size bytes, and no rune of text is cut.
func Of(text string, size int) string {
	if len(text) <= size {
		return text
	}
	if size < least {
		return text[:runeBefore(text, max(size, 0))]
	}
	mark := func(n int) string { return fmt.Sprintf(" ... (%d bytes are left out) ... ", n) }
	room := size - len(mark(len(text))) // the number that is written has at most as many digits
	begin := runeBefore(text, room-room/4)
	end := runeAfter(text, len(text)-room/4)
	return text[:begin] + mark(end-begin) + text[end:]
}

// Print returns what a function panicked with, as fmt.Sprint prints it, in at most Value bytes.
func Print(value any) string { return Of(fmt.Sprint(value), Value) }

// runeBefore returns the last place at or before i where no rune of s is cut. In bytes that are no UTF-8 it is i.
func runeBefore(s string, i int) int {
	for at := i; at >= 0 && at > i-utf8.UTFMax; at-- {
		if utf8.RuneStart(s[at]) {
			return at
		}
	}
	return i
}

// runeAfter returns the first place at or after i where no rune of s is cut. In bytes that are no UTF-8 it is i.
func runeAfter(s string, i int) int {
	for at := i; at < len(s) && at < i+utf8.UTFMax; at++ {
		if utf8.RuneStart(s[at]) {
			return at
		}
	}
	return i
}
