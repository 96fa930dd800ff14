// Package endtest tries, in processes of their own, what is left of a session after its end: its tests use every exported
// method of everything that holds a mapping after Close, while Close runs, and keep what a method has handed out over
// Close while another session fills fresh segments of the same size.
//
// The list of methods is read from the source. A method that is not in the table of uses, nor in the list of those that
// touch no shared byte, fails a test.
package endtest
