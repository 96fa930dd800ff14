// Package leaksite is how package dsm has package resowner report a leak at the line of the program that has attached a
// segment, and not at a line of its own. It is no part of the face of resowner, whose other users are reported where they
// call Remember.
package leaksite

// Remember is Owner.Remember of package resowner for a place so many callers above the caller of Remember: 0 is that
// caller. The arguments are a *resowner.Owner, a *resowner.Item and a resowner.Resource. Package resowner sets it before
// any other package's init functions run that use it.
var Remember func(owner, item, resource any, up int) error
