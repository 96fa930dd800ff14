// Package recipes walks through doc/recipes.md: its tests make each fault of the page, run the very commands that the page
// shows, and see that they show what the page says.
package recipes
