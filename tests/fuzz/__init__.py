"""Every parser of a file against inputs made to break it: only a TaoSkillError may come out."""
