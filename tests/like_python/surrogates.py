print('\udc80')
