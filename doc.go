// Package sidehook holds the words of the project as Go types: Event, Webhook, Secret, Delivery, Attempt, Outcome,
// and the errors that callers decide on. Every other package may import it; it imports no library but the
// standard one, and does no work of its own beyond validation.
package sidehook
