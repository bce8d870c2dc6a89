"""What only flags have: the switch, the options of their form, a trial of a decision, what apps got."""
