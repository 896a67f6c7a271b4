"""English words by which captions are written: proper names, and nouns without an article."""

__all__ = ["ARTICLELESS", "NAMES"]

# First words that keep their capital inside a sentence. Chosen from what recordings are titled by: places, peoples and
# languages, days and months, feasts, stars of music, given names.
NAMES = """
Africa African America American Americans Amsterdam Antarctica Arab Arabic Argentina Asia Asian Athens
Atlanta Australia Australian Austria Austrian Bali Bangkok Barcelona Bavarian Beijing Belfast Belgian
Belgium Berlin Bolivia Boston Brazil Brazilian Bristol Britain British Brooklyn Brussels Budapest Buddhist
Bulgaria Bulgarian Cairo California Cambodia Canada Canadian Caribbean Catholic Celtic Chicago Chile China
Chinese Christian Colombia Copenhagen Cuba Cuban Czech Dallas Danish Denmark Detroit Dubai Dublin Dutch
Edinburgh Egypt Egyptian England English Estonia Ethiopia Europe European Filipino Finland Finnish Florence
Florida France French Geneva Georgia German Germany Ghana Glasgow Greece Greek Hamburg Hanoi Hawaii Hawaiian
Hebrew Helsinki Himalaya Himalayan Hindi Hindu Hollywood Houston Hungarian Hungary Iceland Icelandic India
Indian Indonesia Iran Iraq Ireland Irish Islam Islamic Israel Istanbul Italian Italy Jamaica Jamaican Japan
Japanese Javanese Jerusalem Jewish Kenya Korea Korean Kyoto Lagos Latin Lisbon Liverpool London Louisiana
Madrid Manchester Manhattan Melbourne Mexican Mexico Miami Milan Mongolian Montreal Morocco Moroccan Moscow
Mumbai Munich Muslim Naples Nepal Nepalese Netherlands Nigeria Norway Norwegian Oslo Oxford Pakistan Paris
Persian Peru Peruvian Philippines Poland Polish Portugal Portuguese Prague Quebec Rome Romania Romanian
Russia Russian Scandinavian Scotland Scottish Seattle Seoul Serbia Shanghai Siberia Siberian Singapore
Slovenia Spain Spanish Stockholm Sudan Sweden Swedish Swiss Switzerland Sydney Taiwan Texas Thai Thailand
Tibet Tibetan Tokyo Toronto Tuscan Tuscany Ukraine Ukrainian Utah Vancouver Venice Vienna Viennese Vietnam
Vietnamese Wales Warsaw Welsh Zurich Amazon Atlantic Pacific Mediterranean Thames Danube Nile Alps Alpine
Arctic Earth Mars Jupiter Saturn Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February
April June July August September October November December Christmas Easter Halloween Hanukkah Ramadan
Diwali Thanksgiving God Jesus Christ Allah Buddha Satan Santa Bach Beethoven Brahms Chopin Debussy Handel
Haydn Mozart Schubert Stravinsky Tchaikovsky Vivaldi Wagner Verdi Elvis Beatles Google Microsoft Apple Nokia
Toyota Honda Ford Boeing Airbus Cessna Ferrari Porsche Volkswagen Mercedes Yamaha Casio Nintendo Morse
Doppler Geiger Moog Leslie Adam Adele Alan Albert Alex Alexander Alice Amy Andrea Andrew Angela Anna Anne
Anthony Arthur Barbara Ben Benjamin Beth Bob Brian Carl Carol Caroline Catherine Charles Charlie Charlotte
Chris Christina Christopher Claire Daniel David Diana Donald Edward Elizabeth Ellen Emily Emma Eric Eva Fred
Gary George Grace Hannah Harry Helen Henry Jack Jacob James Jane Janet Jason Jennifer Jenny Jessica Jim Joan
Joe John Johnny Jonathan Joseph Julia Julie Karen Kate Katherine Keith Kelly Kenneth Kevin Larry Laura Lily
Linda Lisa Louis Louise Lucy Luke Margaret Maria Marie Martha Martin Mary Matthew Michael Michelle Mike
Mohammed Nancy Nick Nicholas Nicole Olivia Oliver Oscar Patricia Patrick Paul Peter Philip Rachel Rebecca
Richard Robert Robin Roger Ronald Rose Ruth Sally Samantha Samuel Sandra Sara Sarah Scott Sharon Simon
Sophia Sophie Stephen Steve Steven Susan Thomas Tim Timothy Tom Tommy Victor Victoria Vincent Virginia
Walter William"""

# Nouns in front of which no article stands: what cannot be counted, plurals without an s, words that are spoken.
ARTICLELESS = """
air ambience ammunition applause babble bacon cattle chatter children cutlery electricity equipment feet
fire food gas geese glass gravel gunfire hail hubbub ice laughter lightning lava livestock machinery men
metal mice money music noise oil oxen paper people percussion plastic police poultry rain rainfall
reverberation rubble sand silence snow software speech static steam surf teeth thunder traffic water
wildlife wind women wood yes no on off up down left right go stop"""
