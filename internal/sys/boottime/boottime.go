// Package boottime tells one clock for all processes of a machine: it does not stop while the machine sleeps, and no one sets
// it, where the system has such a clock. Elsewhere it is the time of day.
package boottime
