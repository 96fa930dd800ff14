// Package ordered has the cheapest stores and fences that keep the order in which other processes see one
// process's words, on each processor. It makes nothing exclusive: one writer at a time, by a lock or by agreement.
package ordered
