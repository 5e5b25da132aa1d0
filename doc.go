// Package sidehook holds the words of the project as Go types: Event, Webhook, Secret, Delivery, Attempt, Outcome,
// and the errors that callers decide on. Every other package may import it; it imports the standard library only and
// does no work of its own beyond validation.
package sidehook
