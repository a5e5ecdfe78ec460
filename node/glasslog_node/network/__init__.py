"""Getting whole messages from member to member."""
