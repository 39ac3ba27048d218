// Package game is Liap Tui, a game for four players and 32 pieces: its state, its rules and a bot.
//
// A Game is plain data. Everything that happens to it is an Event with two methods: Check holds
// the rules and changes nothing, Apply makes the change and judges nothing. Apply reads no clock
// and no random source; the deal, and every decision of the server (who starts, who may ask for a
// redeal, who took a turn, what a round scored, who won), is in the event. So the same events
// result in the same Game, also after the rules in Check have changed.
//
// # A game
//
//	waiting       Joined x 4, Started
//	preparation   Dealt; while weak hands have not answered: RedealAsked (deal again) or RedealDeclined
//	round_start   RoundStarted
//	declaration   Declared x 4
//	turn          Played x 4
//	turn_results  TurnScored; then the next turn, or scoring when the hands are empty
//	scoring       RoundScored; then the next round's preparation, or game_over
//	game_over     nothing
//
// Dealt, RoundStarted, TurnScored, RoundScored and Started are moves of the server (the Server
// function returns them); the others are moves of a player (the Bot function returns a bot's).
//
// # What the rules leave open, and how it is settled here
//
//   - Play goes round by seat number, 0 1 2 3 0, from the starter.
//   - A hand is weak if none of its pieces is above 9 points. The owners of weak hands are asked one
//     at a time, in play order from the seat that would start if nobody asked: in round one the
//     holder of the red GENERAL in that deal, after a redeal its asker, else the winner of the last
//     turn of the round before. The first who asks gets the redeal; those after it are not asked.
//   - A redeal is a new deal: weak hands in it are asked again, also those that declined before. The
//     last asker starts the round, in round one too, wherever the red GENERAL is then.
//   - A round's multiplier is one more than its redeals. At most MaxRedeals are given in a round;
//     then weak hands are kept and nobody is asked (house rule, so that a round has an end).
//   - Only the last declarer is bound by the total, which must not be 8. Where the others' total is
//     above 8 already, the last may name anything.
//   - A player who declared 0 in the last two rounds must name at least 1; that ends the row. A
//     redeal comes before the declarations and so does not count as a round. Both bounds together
//     always leave at least seven numbers.
//   - The starter of a turn must play a valid set of at most 6 pieces. The others play as many
//     pieces, any they like: an invalid set, or a set of another type, even a stronger one, loses.
//   - Each turn of n pieces a player is n piles, so a round always has 8, one for each piece dealt to
//     a hand.
//   - Among sets of one type more points win. EXTENDED_STRAIGHT and EXTENDED_STRAIGHT_5 count their
//     three different pieces once. With equal points the earlier play stays.
//   - The phase is turn_results after every turn, the last of a round included.
//   - The game ends after the round in which anybody reached GoalScore, or after round MaxRounds
//     (house rule: scores can go down, and a game needs an end). The highest score wins; seats with
//     the same highest score win together, which is a draw.
package game
