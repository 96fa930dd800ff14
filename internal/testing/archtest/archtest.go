// Package archtest keeps the house in order: its tests say who may import whom, where unsafe and
// system calls live, and that every package says what it is for. The rules are text, in its test file.
package archtest
